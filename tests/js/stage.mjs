// A clock that tests turn, and servers that answer what tests say.

/** Replace the timers and the time by a clock; return what turns it. */
export function useClock(t) {
    const real = {
        setTimeout,
        clearTimeout,
        setInterval,
        clearInterval,
        now: Date.now,
    };
    let now = Date.UTC(2026, 10, 22, 12);
    let timers = [];
    let order = 0;

    function add(fn, delay = 0, every = null) {
        const timer = { fn, at: now + Math.max(delay, 1), every, order: (order += 1) };
        timers.push(timer);
        return timer;
    }
    const remove = (timer) => (timers = timers.filter((each) => each !== timer));

    globalThis.setTimeout = (fn, delay) => add(fn, delay);
    globalThis.setInterval = (fn, delay) => add(fn, delay, delay);
    globalThis.clearTimeout = globalThis.clearInterval = remove;
    Date.now = () => now;
    t.after(() => {
        Date.now = real.now;
        delete real.now;
        Object.assign(globalThis, real);
    });

    /** Let everything happen that waits for no timer. */
    async function settle() {
        for (let turn = 0; turn < 10; turn += 1) {
            await new Promise((resolve) => setImmediate(resolve));
        }
    }

    return {
        settle,
        /** Let so many milliseconds pass. */
        async pass(duration) {
            const end = now + duration;
            await settle();
            for (;;) {
                const due = timers.filter(({ at }) => at <= end);
                due.sort((one, other) => one.at - other.at || one.order - other.order);
                if (due.length === 0) {
                    break;
                }
                const [timer] = due;
                now = Math.max(now, timer.at);
                if (timer.every === null) {
                    remove(timer);
                } else {
                    timer.at += timer.every;
                }
                timer.fn();
                await settle();
            }
            now = end;
        },
        /** Let so many milliseconds pass in which the computer sleeps. */
        sleep(duration) {
            now += duration;
            timers.forEach((timer) => (timer.at += duration));
        },
    };
}

/** Replace fetch by a server with these answers, which then holds requests. */
export function useServer(t, ...answers) {
    const real = globalThis.fetch;
    const server = { requests: [], answers, held: 0 };
    globalThis.fetch = (url, options) => {
        server.requests.push({ url, at: Date.now(), ...options });
        const answer = server.answers.shift();
        if (answer === undefined) {
            server.held += 1;
            return new Promise((resolve, reject) => {
                server.answer = (response) => {
                    server.held -= 1;
                    resolve(response);
                };
                server.fail = () => {
                    server.held -= 1;
                    reject(new TypeError("Failed to fetch"));
                };
                options.signal.addEventListener("abort", () => {
                    server.held -= 1;
                    reject(options.signal.reason);
                });
            });
        }
        return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    };
    t.after(() => (globalThis.fetch = real));
    return server;
}

/** Take away the luck: Math.random returns this. */
export function useRandom(t, value) {
    const real = Math.random;
    Math.random = () => value;
    t.after(() => (Math.random = real));
}

/** Return what is written with a method of the console, instead of writing it. */
export function useConsole(t, method) {
    const lines = [];
    t.mock.method(console, method, (...args) => lines.push(args));
    return lines;
}

export const TIME = Date.UTC(2026, 10, 22, 12) / 1000;
export const DATE = "Sun, 22 Nov 2026 12:00:00 GMT";

/** Return the answer that holds a message: data as JSON. */
export function message(tag, data, headers = {}) {
    return new Response(JSON.stringify(data), {
        headers: {
            "Content-Type": "application/json; charset=utf-8",
            "Last-Modified": DATE,
            Etag: String(tag),
            ...headers,
        },
    });
}

/** Return an answer without a message. */
export function status(code, headers = {}, text = null) {
    return new Response(text, { status: code, headers });
}
