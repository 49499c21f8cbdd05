"""What Anthropic's Messages API says, whatever carries it: requests translated, answers in its shape."""
