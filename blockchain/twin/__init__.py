"""The contract's twin: its rules implemented again in Python, to test the contract and to audit what it recorded."""
