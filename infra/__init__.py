"""Where it runs: CloudFormation templates, the code that deploys them, and the same templates on one machine."""
