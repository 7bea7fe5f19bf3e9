"""What client.py does: ages and genders of the people on photos."""
