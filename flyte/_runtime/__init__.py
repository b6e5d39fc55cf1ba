"""What runs inside a task's container: from the words of its command to a finished attempt."""
