"""What trains: data pipelines, the worker loop, objectives, adaptations, checkpoints, evaluation, export."""
