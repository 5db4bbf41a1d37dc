"""Ensembles: members found or trained, chosen and weighed on validation rows, reported against the best single one."""
