"""From files to batches: read, shape, template, tokenise, pack, store, plan, feed.

`prepare` streams the files of a run through Ray Data once and stores token sequences (`store`); `BatchPlan` decides
which sequence is seen when (`plan`); `Feed` brings them to a worker, a step ahead of it (`feed`).
"""
