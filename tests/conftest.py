"""Settings that all tests share."""

from hypothesis import settings

# derandomize: a failure in CI is the same failure at a desk; `--all` and `minilte.verify` search with fresh seeds
settings.register_profile("minilte", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("minilte")
