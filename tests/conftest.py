"""Settings of all tests."""

from hypothesis import settings

# the same examples in every run: what is checked before a change lands is what lands
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
