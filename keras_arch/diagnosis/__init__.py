"""What a user looks at to judge a generator: modes, latents, neighbours, sheets of pairs."""
