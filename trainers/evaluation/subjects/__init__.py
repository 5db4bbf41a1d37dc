"""What can be scored: a model folder (loaded here or run by vLLM), or a model behind an OpenAI-compatible endpoint."""

from trainers.evaluation.subjects.base import Job, Subject
from trainers.evaluation.subjects.folder import FolderSubject

__all__ = ["FolderSubject", "Job", "Subject"]
