"""What OpenAI's API says, whatever carries it: requests checked and translated, answers in its shapes."""
