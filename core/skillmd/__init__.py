"""The parts of `core.skill_format`: from bytes to problems, frontmatter, body and triggers."""
