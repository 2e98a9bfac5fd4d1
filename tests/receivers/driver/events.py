"""What is published, and what each dialect makes of it."""

import time

# Everything that JSON writers like to escape, and what browsers and shells like to read.
AWKWARD = 'Zoë & <b>"Ω"</b> \u2028\u2029 \\ / 🎉 %41'
NESTED = 24


def nested():
    value = {"end": AWKWARD}
    for _ in range(NESTED):
        value = {"deeper": [value, None, 1.5]}
    return value


LICENSE = {
    "id": "lic_7f3a", "key": "KP-ABCD-EFGH-IJKL", "name": AWKWARD, "status": "active",
    "plan": "professional", "expires_at": "2027-04-15T00:00:00.000Z",
    "features": ["analytics", AWKWARD], "current_activations": 3, "max_activations": 10,
    "metadata": nested(),
}
CUSTOMER = {"id": "cus_9", "name": AWKWARD, "email": "zoë@example.com"}
ACTIVATION = {
    "id": "act_1", "fingerprint": "device-abc-123", "device_name": AWKWARD,
    "device_type": "desktop", "ip_address": "203.0.113.9", "domain": "app.customer.com",
}
MORE = {
    "license.ip_blocked": {"reason": "ip_limit"},
    "license.revoked": {"manual": True, "reason": AWKWARD, "actor": {"type": "user", "id": "u1"}},
    "license.suspended": {"actor": {"type": "user", "id": "usr_1"}, "reason": AWKWARD},
}

# The canonical type, then its name where a dialect has another; None where it has none.
TYPES = {
    "license.created": {"licvalidator": None},
    "license.activated": {"keyport": None, "keygen": None},
    "license.validated": {"keyport": None, "keygen": "license.validation.succeeded",
                          "traffic": None, "getkeymanager": None},
    "license.revoked": {"licvalidator": None},
    "license.ip_blocked": {"licvalidator": None, "keygen": "license.validation.failed",
                           "traffic": None, "getkeymanager": "activation.failed"},
    "license.expiring_soon": {"keyport": None, "licvalidator": None, "traffic": "license.expiring",
                              "keygen": "license.expiring-soon", "getkeymanager": None},
    "license.suspended": {"keyport": None, "licvalidator": "license.disabled", "traffic": None},
    "payment.failed": {"keyport": None, "licvalidator": None, "keygen": None,
                       "getkeymanager": None},
    "license.expired": {},
}
# Known to every dialect, so this one is repeated and tampered with.
EVERYWHERE = "license.expired"


def name_of(dialect, event_type):
    # KeyPort's reference has the names of its guide.
    return TYPES[event_type].get(dialect.removesuffix("-docs"), event_type)


def event(event_type):
    data = {"license": LICENSE, "customer": CUSTOMER, "activation": ACTIVATION}
    data |= MORE.get(event_type, {})
    return {"id": f"evt_{event_type.replace('.', '_')}", "type": event_type, "product": "prod_42",
            "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "data": data}


def expected_data(dialect, submitted):
    """Members that a receiver must find, by the dialect's documents."""
    data, event_type = submitted["data"], submitted["type"]
    if dialect in ("standard", "cloudevents"):
        return data
    if dialect == "keyport":
        found = {"license": {"id": "lic_7f3a", "key": "KP-ABCD-EFGH-IJKL",
                             "customer_email": "zoë@example.com"}}
        if event_type == "license.ip_blocked":
            found["ip_address"] = "203.0.113.9"
        return found
    if dialect == "licvalidator":
        return {"licenseId": "lic_7f3a", "licenseKey": "KP-ABCD-EFGH-IJKL", "licenseName": AWKWARD,
                "customerName": AWKWARD, "customerEmail": "zoë@example.com",
                "fingerprint": "device-abc-123", "deviceName": AWKWARD, "deviceType": "desktop",
                "ipAddress": "203.0.113.9", "currentActivations": 3, "maxActivations": 10}
    if dialect == "traffic":
        return {"licenseKey": "KP-****-****-IJKL", "plan": "professional",
                "domain": "app.customer.com", "activationsUsed": 3, "activationLimit": 10,
                "expiresAt": "2027-04-15T00:00:00Z", "features": ["analytics", AWKWARD]}
    if dialect == "keygen":
        license_of_1 = {"name": AWKWARD, "key": "KP-ABCD-EFGH-IJKL",
                        "expiry": "2027-04-15T00:00:00.000Z"}
        return {"data": {"type": "licenses", "attributes": license_of_1}}
    return {}


def includes(found, wanted):
    """Whether everything wanted is there; there may be more."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            name in found and includes(found[name], value) for name, value in wanted.items())
    return found == wanted
