"""PatchCore, in the order of its steps: params, coreset, search, score; detector puts them together."""
