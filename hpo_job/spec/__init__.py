"""What a study.toml says, read and validated."""
