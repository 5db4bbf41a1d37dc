"""Stages that mend texts and leave out rows that nobody should learn from."""
