// cc -o service service.c -lcjose -lcurl -ljansson

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjose/cjose.h>
#include <curl/curl.h>
#include <jansson.h>

enum { CACHE = {{cache}}, COOLDOWN = {{cooldown}}, LEEWAY = {{leeway}}, MOST = 65536 }; // seconds, and bytes

static json_t *keys;    // the key set
static time_t fetched;  // on the monotonic clock

struct text {
    char *bytes;
    size_t size;
};

static size_t append(char *bytes, size_t one, size_t count, void *to) {
    struct text *text = to;
    size_t size = one * count;
    char *longer = text->size + size <= MOST ? realloc(text->bytes, text->size + size + 1) : NULL;
    if (!longer) return 0;
    memcpy(longer + text->size, bytes, size);
    text->bytes = longer;
    text->size += size;
    return size;
}

static void fetch_keys(time_t now) {
    struct text body = {0};
    CURL *curl = curl_easy_init();
    if (!curl) return;
    curl_easy_setopt(curl, CURLOPT_URL, "{{jwks}}");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 5L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    json_t *set = curl_easy_perform(curl) == CURLE_OK ? json_loadb(body.bytes, body.size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (json_is_array(json_object_get(set, "keys"))) {
        json_decref(keys);
        keys = json_incref(json_object_get(set, "keys"));
        fetched = now;
    }
    json_decref(set);
    curl_easy_cleanup(curl);
    free(body.bytes);
}

static json_t *find_key(const char *kid) {
    size_t index;
    json_t *key;
    json_array_foreach(keys, index, key) {
        const char *its = json_string_value(json_object_get(key, "kid"));
        if (its && strcmp(its, kid) == 0) return key;
    }
    return NULL;
}

// The key with this kid. The key set is fetched again when it is old, or does not have the key.
static cjose_jwk_t *key_of(const char *kid) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t age = now.tv_sec - fetched;
    if (!keys || age > CACHE || (!find_key(kid) && age > COOLDOWN)) fetch_keys(now.tv_sec);
    char *text = json_dumps(find_key(kid), JSON_COMPACT);
    cjose_jwk_t *key = text ? cjose_jwk_import(text, strlen(text), NULL) : NULL;
    free(text);
    return key;
}

static bool is(const json_t *object, const char *name, const char *value) {
    const char *its = json_string_value(json_object_get(object, name));
    return its && strcmp(its, value) == 0;
}

static bool listed(const json_t *list, const char *value) {
    size_t index;
    json_t *each;
    json_array_foreach(list, index, each) {
        if (json_is_string(each) && strcmp(json_string_value(each), value) == 0) return true;
    }
    return false;
}

static bool acceptable(const json_t *claims) {
    const json_t *expires = json_object_get(claims, "exp"), *issued = json_object_get(claims, "iat");
    const json_t *not_before = json_object_get(claims, "nbf");
    json_int_t now = time(NULL);
    return is(claims, "iss", "{{issuer}}") && is(claims, "aud", "{{audience}}") && json_is_integer(expires)
        && now < json_integer_value(expires) + LEEWAY && json_is_integer(issued) && json_integer_value(issued) <= now + LEEWAY
        && (!not_before || (json_is_integer(not_before) && json_integer_value(not_before) <= now + LEEWAY))
        && json_is_integer(json_object_get(claims, "stt")) && json_integer_value(json_object_get(claims, "stt")) == 1
        && listed(json_object_get(claims, "scp"), "{{scope}}");
}

// The claims of a token that may do this here, to be released with json_decref; NULL for any other.
json_t *verify(const char *token) {
    json_t *claims = NULL;
    cjose_jws_t *jws = cjose_jws_import(token, strlen(token), NULL);
    if (!jws) return NULL;
    cjose_header_t *header = cjose_jws_get_protected(jws);
    const char *alg = cjose_header_get(header, "alg", NULL), *kid = cjose_header_get(header, "kid", NULL);
    const char *typ = cjose_header_get(header, "typ", NULL);
    char *crit = cjose_header_get_raw(header, "crit", NULL);
    if (alg && kid && typ && !crit && strcmp(alg, "{{alg}}") == 0 && strcmp(typ, "at+jwt") == 0) {
        uint8_t *payload;
        size_t size;
        cjose_jwk_t *key = key_of(kid);
        if (key && cjose_jws_verify(jws, key, NULL) && cjose_jws_get_plaintext(jws, &payload, &size, NULL)) {
            claims = json_loadb((const char *)payload, size, JSON_REJECT_DUPLICATES, NULL);
            if (claims && !acceptable(claims)) {
                json_decref(claims);
                claims = NULL;
            }
        }
        if (key) cjose_jwk_release(key);
    }
    free(crit);
    cjose_jws_release(jws);
    return claims;
}
