"""What a user declares: environments, tasks, images, resources, policies. No network, no protobuf."""
