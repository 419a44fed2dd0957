# SPDX-License-Identifier: Apache-2.0
"""``--load-format 3fs`` for inference engines: one module for each, which the engine's own plugin loading finds.

``options``  what ``--model-loader-extra-config`` may say
``weights``  the tensors of a model's files, as an engine's loader wants them, and one log line at the end
``fitting``  how a plugin fits itself into an engine without changing it, and says so when it does not fit
"""
