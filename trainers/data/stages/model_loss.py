"""What rows cost a causal model, noted for a curriculum."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cluster.config import DataConfig, Pretrained
from cluster.config.stages.select import ModelLossStage
from trainers.data.encode import Encoder
from trainers.data.formats import staged_row
from trainers.data.record import Record, to_json
from trainers.data.sources import Sources
from trainers.data.stages.augment.tables import folder_stamp
from trainers.data.stages.base import RowStage, StageContext
from trainers.models import resolve_model


class ModelLoss(RowStage[ModelLossStage]):
    """Runs the model over rows as training would see them; a row without a token that carries loss costs nothing."""

    batch_size = 64

    def __init__(self, config: ModelLossStage, context: StageContext) -> None:
        from trainers.causal_loss import RowLoss
        from trainers.tokenizer import load_tokenizer

        super().__init__(config, context)
        tokenizer = load_tokenizer(Pretrained(name_or_path=config.model))
        settings = DataConfig(train="-", max_length=config.max_length)
        self.encoder = Encoder(Sources((), ()), settings, tokenizer)
        self.row_loss = RowLoss(_load(config.model), tokenizer.pad_token_id, config.batch_size)

    @classmethod
    def inputs(cls, config: ModelLossStage) -> Any:
        """Which model it is."""
        return folder_stamp(config.model)

    def __call__(self, records: list[Record]) -> list[Record]:
        import torch

        if not records:
            return records
        rows = [staged_row(to_json(one.row), one.place, "{}") for one in records]
        zeros = [0] * len(rows)
        encoded = self.encoder(pa.table({"file": zeros, "position": zeros, "row": rows}))
        with torch.inference_mode():
            losses = self.row_loss(encoded)
        for record, row, loss in zip(records, encoded, losses, strict=True):
            carried = row.num_learnt
            record.notes["model_loss"] = round(loss / max(carried, 1), 5)
        return records


def _load(model: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded: Any = AutoModelForCausalLM.from_pretrained(resolve_model(model), use_safetensors=True, dtype=torch.float32)
    return loaded.to(device).eval()
