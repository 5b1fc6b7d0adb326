// What goes into a key is put one behind the other, each part with its length before it: so no two different lists of
// parts become the same text.

#include "call/key.hpp"

#include <cstdint>

#include "call/locate.hpp"

namespace owt {

namespace {

class Parts {
  public:
    Parts() { text_.reserve(512); }

    Parts& add(std::string_view part) {
        std::uint64_t size = part.size();
        text_.append(reinterpret_cast<const char*>(&size), sizeof(size)).append(part);
        return *this;
    }

    Parts& add(const std::vector<Field>& fields) {
        // In their order: keyword arguments have one.
        for (const Field& field : fields) {
            add(field.json ? "json" : "text").add(field.name).add(field.value);
        }
        return add("end");
    }

    Digest digest() const { return sha256(text_); }

  private:
    std::string text_;
};

}  // namespace

Digest key_of(const Scope& scope, const Target& target, Place place, const Params& params, std::string_view further) {
    Parts parts;
    parts.add(scope.zone).add(scope.server).add(scope.location).add(scope.instance);
    if (params.cache_key_override) {
        return parts.add("override").add(*params.cache_key_override).digest();
    }
    parts.add("call").add(params.code_id).add(target.version).add(params.fn_name);
    parts.add(target.method == "HEAD" ? "GET" : target.method).add(target.path).add(target.uri);
    if (place == Place::query) {
        parts.add(without_parameters(target.query));
    } else {
        parts.add(target.query);
    }
    if (params.cache_kwargs) {
        parts.add(params.kwargs ? "kwargs" : "none").add(params.kwargs.value_or(""));
        parts.add(params.fields).add(params.beside).add(params.unused).add(further);
        if (place == Place::query || place == Place::nowhere) {
            parts.add(target.body_type);
        }
    }
    return parts.digest();
}

Digest key_of(const Digest& key, std::string_view accept) {
    return Parts().add({reinterpret_cast<const char*>(key.data()), key.size()}).add(accept).digest();
}

}  // namespace owt
