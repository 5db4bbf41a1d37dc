"""`model:` what is fine-tuned."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from cluster.config.base import Config, with_default_kind

AttentionName = Literal["auto", "sdpa", "eager", "flash_attention_2"]
"""Kernels for which packed loss is proven equal to the loss of the rows alone (tests/trainers/test_packing_loss.py)."""


class ModelBase(Config):
    attn_implementation: AttentionName = "auto"
    """Attention kernel of transformers. `auto` takes flash_attention_2 where it is installed and a GPU is there, else sdpa."""
    chat_template: str | None = None
    """Jinja chat template, or the path of a `.jinja` file. Default: the tokenizer's own, else ChatML."""


class Pretrained(ModelBase):
    """A model that exists: a Hub id, a folder, or a folder inside an installed Python package."""

    kind: Literal["pretrained"] = "pretrained"
    name_or_path: str
    """Hub id (`Qwen/Qwen3-0.6B`), folder, or `pkg://PACKAGE/FOLDER` for weights that a Python package carries."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""


class Scratch(ModelBase):
    """A small Llama-style model with fresh weights and a tokenizer trained on the data: no hub needed."""

    kind: Literal["scratch"] = "scratch"
    hidden_size: int = Field(default=192, ge=8)
    """Width of the residual stream."""
    intermediate_size: int = Field(default=512, ge=8)
    """Width of the feed-forward layers."""
    num_hidden_layers: int = Field(default=4, ge=1)
    """Transformer blocks."""
    num_attention_heads: int = Field(default=4, ge=1)
    """Query heads; they divide `hidden_size`."""
    num_key_value_heads: int = Field(default=2, ge=1)
    """Key/value heads (grouped-query attention); they divide `num_attention_heads`."""
    max_position_embeddings: int = Field(default=1024, ge=16)
    """Longest sequence the model can see, in tokens."""
    vocab_size: int = Field(default=2048, ge=300)
    """Entries of the byte-level BPE tokenizer that is trained on the data."""
    tie_word_embeddings: bool = True
    """Share the input and output embeddings."""

    @model_validator(mode="after")
    def heads_divide_evenly(self) -> Self:
        if self.hidden_size % self.num_attention_heads or (self.hidden_size // self.num_attention_heads) % 2:
            raise ValueError(
                f"hidden_size={self.hidden_size} does not split over num_attention_heads={self.num_attention_heads} "
                "into heads of an even size; change one of the two"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads={self.num_key_value_heads}; change one of the two"
            )
        return self


ModelConfig = Annotated[
    Annotated[Pretrained | Scratch, Field(discriminator="kind")], BeforeValidator(with_default_kind("pretrained"))
]
