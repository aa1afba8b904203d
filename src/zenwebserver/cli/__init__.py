"""What a person types: one module a family of verbs. It parses, asks the supervisor, prints; no logic lives here."""
