import type { Profile } from "@longshore/core";
import type { ModelStore } from "@longshore/engine";

/** A repository with profiles laid over it where it has none of its own: nothing is written into the user's folder. */
export function profiledStore(store: ModelStore, profiles: Readonly<Record<string, Profile>>): ModelStore {
  return {
    list: (at) => store.list(at),
    async read(at) {
      const [model = "", , file, more] = at.split("/");
      const profile = file === "profile.json" && more === undefined ? profiles[model] : undefined;
      return profile ? new TextEncoder().encode(JSON.stringify(profile)) : store.read(at);
    },
  };
}
