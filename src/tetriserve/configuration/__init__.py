"""What an operator can set: one TOML file, of which every key is also a flag and an environment variable.

The settings themselves are declared where they are used (`core.setting`); nothing here knows any of them but `tree`.
"""
