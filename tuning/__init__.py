"""What searches: studies whose trials are ordinary training runs."""
