"""Prompts as the tokens of OpenAI's CLIP."""

from __future__ import annotations

import logging

from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

logger = logging.getLogger(__name__)


class PromptTokens:
    """Cuts prompts to a network's context, start and end included, and says so once."""

    def __init__(self, reader: str, context_length: int) -> None:
        """Takes who reads the tokens, and how many."""
        self._reader = reader
        self._context_length = context_length
        self._tokenizer = SimpleTokenizer(context_length=context_length)
        self._warned = False

    def __call__(self, prompt: str) -> Tensor:
        """The tokens (1, context length), int64, zeros behind the end."""
        num_tokens = len(self._tokenizer.encode(prompt)) + 2
        if num_tokens > self._context_length and not self._warned:
            self._warned = True
            logger.warning(
                "%s reads %d tokens, this prompt has %d (and others may): %r",
                self._reader,
                self._context_length,
                num_tokens,
                prompt,
            )
        tokens_1L: Tensor = self._tokenizer(prompt)
        return tokens_1L
