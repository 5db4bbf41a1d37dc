"""How a score is come by: looks at test sets are counted, seen rows are found, folds and suites are run."""
