"""How sure is an answer, and how often is it wrong? Fitted on people whom no network has seen."""
