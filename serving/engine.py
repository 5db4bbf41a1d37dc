"""vLLM as `ray.serve.llm` runs it, with its tokenizer within reach and less to wait for at start."""

import os

from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine


class Engine(VLLMEngine):
    """The default engine behind a causal model."""

    async def start(self) -> None:
        """Start vLLM and take hold of its tokenizer service."""
        source = self.llm_config.model_loading_config.model_source  # type: ignore[union-attr]
        callback = self.llm_config.get_or_create_callback()
        if callback is not None and os.path.isdir(str(source)):
            # Nothing to download for a folder, and the task that would find that out imports vLLM once more.
            callback.ctx.run_init_node = False
        await super().start()
        if self._oai_serving_tokenization is None:
            # Ray 2.60 looks for the service under the name that it had before vLLM 0.29.
            self._oai_serving_tokenization = self._app_state.serving_tokenization
