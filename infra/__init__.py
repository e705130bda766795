"""Where it runs: CloudFormation templates, the code that deploys them, and all of it on one machine."""
