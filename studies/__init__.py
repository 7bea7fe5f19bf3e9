"""The study: twelve results from one command, with baselines and a report."""
