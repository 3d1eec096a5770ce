"""A throwaway node made of network namespaces: real veths, real NAT, real conntrack. For the demo and the tests."""
