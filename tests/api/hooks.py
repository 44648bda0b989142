"""Texts whose form JSON Schema cannot say."""
import base64
import ipaddress

import schemathesis
from hypothesis import strategies as st


def cursor(position):
    created, number = position
    return base64.urlsafe_b64encode(f'{created} c{number}'.encode()).decode().rstrip('=')


def network(given):
    address, prefix = given
    return str(ipaddress.ip_network((address, prefix), strict=False))


def basic(pair):
    return 'Basic ' + base64.b64encode(':'.join(pair).encode()).decode()


word = st.from_regex(r'\A[a-z0-9-]{1,20}\Z')
millis = st.integers(0, 2 ** 42)
schemathesis.openapi.format('clients-cursor', st.tuples(millis, st.integers(0, 999)).map(cursor))
schemathesis.openapi.format('audit-cursor', st.integers(1, 2 ** 53).map(str))
schemathesis.openapi.format('basic-credentials', st.tuples(word, word).map(basic))
schemathesis.openapi.format('ip-network', st.one_of(
    st.tuples(st.ip_addresses(v=4).map(int), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=6).map(int).filter(lambda it: it >= 2 ** 64), st.integers(0, 128)),
).map(lambda pair: network((ipaddress.ip_address(pair[0]), pair[1]))))
