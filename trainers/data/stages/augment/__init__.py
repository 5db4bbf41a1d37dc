"""More training rows out of those there are: one file for each kind of augmentation."""
