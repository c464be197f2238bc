// What tabs of a browser have in common: Web Locks, BroadcastChannel.

/** Replace Web Locks and BroadcastChannel for tabs in this process. */
export function useBrowser(t) {
    const held = new Map(); // By name: the lock that is held.
    const waiting = new Map(); // By name: the requests in their order.
    const channels = new Set();
    let maker = null; // The tab whose code runs when a channel is made.

    const aborted = () => new DOMException("It was aborted.", "AbortError");

    function grant(name, { callback, resolve, reject }) {
        const lock = { name, reject };
        held.set(name, lock);
        const release = (settle) => (value) => {
            if (held.get(name) === lock) {
                held.delete(name);
                const [next] = (waiting.get(name) ?? []).splice(0, 1);
                if (next !== undefined) {
                    grant(name, next);
                }
            }
            settle(value);
        };
        setImmediate(() =>
            Promise.resolve(callback(lock)).then(release(resolve), release(reject)),
        );
    }

    function request(name, options, callback) {
        return new Promise((resolve, reject) => {
            const { ifAvailable = false, steal = false, signal } = options;
            const asked = { callback, resolve, reject };
            if (signal?.aborted) {
                reject(aborted());
            } else if (steal && held.has(name)) {
                held.get(name).reject(aborted());
                grant(name, asked);
            } else if (!held.has(name)) {
                grant(name, asked);
            } else if (ifAvailable) {
                setImmediate(() => resolve(callback(null)));
            } else {
                const queue = waiting.get(name) ?? [];
                waiting.set(name, queue);
                queue.push(asked);
                signal?.addEventListener("abort", () => {
                    const index = queue.indexOf(asked);
                    if (index >= 0) {
                        queue.splice(index, 1);
                        reject(aborted());
                    }
                });
            }
        });
    }

    class BroadcastChannel {
        constructor(name) {
            this.name = name;
            this.tab = maker;
            this.missed = [];
            channels.add(this);
        }

        postMessage(message) {
            const data = structuredClone(message);
            for (const other of channels) {
                if (other !== this && other.name === this.name) {
                    setImmediate(() => other.take(data));
                }
            }
        }

        take(data) {
            if (this.tab.isFrozen) {
                this.missed.push(data);
            } else if (channels.has(this)) {
                this.onmessage({ data });
            }
        }

        close() {
            channels.delete(this);
        }
    }

    const real = {
        navigator: Object.getOwnPropertyDescriptor(globalThis, "navigator"),
        BroadcastChannel: globalThis.BroadcastChannel,
    };
    const navigator = { value: { locks: { request } }, configurable: true };
    Object.defineProperty(globalThis, "navigator", navigator);
    globalThis.BroadcastChannel = BroadcastChannel;
    t.after(() => {
        globalThis.BroadcastChannel = real.BroadcastChannel;
        delete globalThis.navigator;
        if (real.navigator !== undefined) {
            Object.defineProperty(globalThis, "navigator", real.navigator);
        }
    });

    return {
        held,
        channels,
        /** Run what a tab does first. */
        as(tab, fn) {
            maker = tab;
            fn();
        },
        /** Let a tab receive no messages, or those that it has missed. */
        freeze(tab, isFrozen) {
            tab.isFrozen = isFrozen;
            for (const channel of channels) {
                if (channel.tab === tab && !isFrozen) {
                    channel.missed.splice(0).forEach((data) => channel.take(data));
                }
            }
        },
    };
}
