"""Where the relay runs: the CloudFormation templates, their deployment, and all of it on one machine."""
