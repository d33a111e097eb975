"""HTTP in: the OpenAI Images API with deadlines, on FastAPI. The only package that knows a web framework."""
