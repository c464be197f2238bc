// Streams that tests write, and the requests for them.

export const LOCATION = '/updates/{channels}; separator=","';

/** A response that is written while a test runs. */
export function stream(headers = { "Push-Location": LOCATION }) {
    let controller;
    const body = new ReadableStream({ start: (each) => (controller = each) });
    const encoder = new TextEncoder();
    return {
        response: new Response(body, {
            headers: { "Content-Type": "text/event-stream; charset=utf-8", ...headers },
        }),
        send: (text) => controller.enqueue(encoder.encode(text)),
        sendBytes: (bytes) => controller.enqueue(bytes),
        end: () => controller.close(),
        fail: () => controller.error(new TypeError("network error")),
    };
}

export const head = (position, retry = 2000) => `retry: ${retry}\nid: ${position}\n: hi\n\n`;

/** Return an event of a stream of several channels. */
export const event = (position, channel, data) =>
    `id: ${position}\nchannel: ${channel}\ncontent-type: application/json\n` +
    `data: ${JSON.stringify(data)}\n\n`;

export const paths = ({ requests }) =>
    requests.map(({ url }) => {
        const { pathname, search } = new URL(url, "http://localhost");
        return decodeURIComponent(pathname + search);
    });

export const last = (states, name) => states.filter(([each]) => each === name).at(-1);
