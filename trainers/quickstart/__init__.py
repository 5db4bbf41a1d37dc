"""The story that `mobula quickstart` tells: its data, its model and its steps."""
