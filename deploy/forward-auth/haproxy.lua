-- Asks m2mint whether a request may pass. Loaded by haproxy.cfg.
-- What is demanded is in the variable txn.m2mint_demand; the answer comes in txn.m2mint_status and beside it.

local ADDRESS = "http://127.0.0.1:3567"
local MILLISECONDS = 2000

core.register_action("m2mint-verify", { "http-req" }, function(txn)
    txn:set_var("txn.m2mint_status", 503)
    local demand = txn:get_var("txn.m2mint_demand")
    if not demand then
        txn:set_var("txn.m2mint_status", 403)
        return
    end
    -- All of them: m2mint refuses several.
    local authorizations = {}
    for at, value in pairs(txn.http:req_get_headers()["authorization"] or {}) do
        authorizations[at + 1] = value
    end
    local headers = #authorizations > 0 and { ["authorization"] = authorizations } or nil
    local answer = core.httpclient():get({
        url = ADDRESS .. "/auth/verify?" .. demand, headers = headers, timeout = MILLISECONDS,
    })
    if not answer or answer.status ~= 200 and answer.status ~= 401 and answer.status ~= 403 then
        return
    end
    local first = function(name)
        local values = answer.headers[name]
        return values and (values[0] or values[1]) or ""
    end
    txn:set_var("txn.m2mint_client", first("x-m2mint-client"))
    txn:set_var("txn.m2mint_scope", first("x-m2mint-scope"))
    txn:set_var("txn.m2mint_audience", first("x-m2mint-audience"))
    txn:set_var("txn.m2mint_challenge", first("www-authenticate"))
    txn:set_var("txn.m2mint_status", answer.status)
end)
