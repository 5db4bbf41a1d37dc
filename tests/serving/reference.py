"""What transformers and PEFT say about the same folder: the truth that serving is held against."""

from trainers.folder import ModelFolder


def chat_ids(folder: ModelFolder, text: str) -> list[int]:
    """Prompt tokens of one user message."""
    from trainers.data.template import render

    return render(folder.tokenizer(), [{"role": "user", "content": text}], add_generation_prompt=True)


def continuations(folder: ModelFolder, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
    """Tokens that `generate()` puts behind each prompt at temperature 0."""
    import torch

    model = folder.load()
    return [
        model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=max_tokens,
            do_sample=False,
        )[0, len(prompt) :].tolist()
        for prompt in prompts
    ]
