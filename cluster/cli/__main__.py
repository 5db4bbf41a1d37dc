"""`python -m cluster.cli`: the command line where the package is not installed."""

from cluster.cli import main

main()
