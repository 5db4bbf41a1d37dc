"""Ensembles at work: how members' answers become one, and the model folder that holds several."""
