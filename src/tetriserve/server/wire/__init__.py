"""The JSON shapes of the API, one file a family.

The shapes are OpenAI's Images API; `seed`, `num_inference_steps`, `guidance_scale`, `negative_prompt` are the names
other image servers use; `slo_ms`, `service_class`, jobs, progress and the answer's `tetriserve` object are ours.
"""
