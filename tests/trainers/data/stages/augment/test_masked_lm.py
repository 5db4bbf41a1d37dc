"""Contextual replacement, by a masked language model that was taught four sentences."""

import pytest

from cluster.exceptions import ConfigError
from tests.serving.tiny_models import tiny_causal_folder
from tests.trainers.data.stages.augment.rows import chat, labelled, made, run, texts

TAUGHT = ["my new card is lost", "my new phone is lost", "our cash transfer failed", "our bank transfer failed"]
WORDS = sorted({word for text in TAUGHT for word in text.split()})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small BERT over whole words, trained to fill in the third word until it does."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[MASK]"]
    backend = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(specials + WORDS)}, unk_token="[UNK]")
    )
    backend.normalizer, backend.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]", model_max_length=32
    )
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    network = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, **shape))
    ids = tokenizer(TAUGHT, padding=True, return_tensors="pt")["input_ids"]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(120):
        place = step % ids.shape[1]
        seen = ids.clone()
        seen[:, place] = tokenizer.mask_token_id
        optimizer.zero_grad()
        network(input_ids=seen, labels=ids).loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("masked") / "bert"
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_word_becomes_another_that_the_context_allows(model):
    rows = run(labelled("My new Card is lost"), kind="masked_lm", model=model, rate=0.01, top_k=1, copies=4)
    assert "My new Phone is lost" in texts(made(rows))


def test_function_words_numbers_and_negations_stay(model):
    text = "is our 2 not never"
    assert not made(run(labelled(text), kind="masked_lm", model=model, rate=1.0))


def test_copies_do_not_depend_on_the_rows_beside_them(model):
    settings = {"kind": "masked_lm", "model": model, "copies": 2, "top_k": 5}
    together = texts(run(labelled(*TAUGHT, "phone"), **settings))
    alone = [text for row in labelled(*TAUGHT, "phone") for text in texts(run([row], **settings))]
    assert together == alone and len(together) > len(TAUGHT) + 5


def test_texts_go_back_into_the_messages_they_came_from(model):
    [_, copy] = run([chat("my new card is lost", "my new card")], kind="masked_lm", model=model)
    assert copy.texts(["assistant"]) == ["my new card"] and copy.texts(["user"]) != ["my new card is lost"]


def test_a_model_without_a_mask_is_refused(tmp_path):
    folder = tiny_causal_folder(tmp_path / "causal")
    with pytest.raises(ConfigError, match="has no mask token"):
        run(labelled("card"), kind="masked_lm", model=str(folder))
