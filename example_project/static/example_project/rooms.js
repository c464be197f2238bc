// The page of the rooms: shows what is said, and which rooms the member may hear.

(function () {
    "use strict";

    const STATES = {
        connecting: "Connecting",
        live: "Live",
        waiting: "No connection, trying again",
    };

    /** Why a room is not heard, by the status of the refusal. */
    const REFUSALS = {
        403: "For members only",
        404: "The room was deleted",
    };

    const byId = (id) => document.getElementById(id);

    function addMessage(room, { name, text }) {
        const message = document.createElement("li");
        const speaker = document.createElement("b");
        const said = document.createElement("span");
        speaker.textContent = name;
        said.className = "text";
        said.textContent = text;
        message.append(speaker, " ", said);
        room.querySelector("ol").append(message);
    }

    function showState(state, name, { status }) {
        const room = byId(name);
        room.dataset.state = state;
        room.querySelector(".state").textContent =
            REFUSALS[status] ?? STATES[state] ?? "Ended";
    }

    async function say(event) {
        event.preventDefault();
        const form = event.target;
        const field = form.elements.text;
        try {
            const response = await fetch(form.action, {
                method: "POST",
                body: new FormData(form),
            });
            if (!response.ok) {
                throw new Error(`The site answered ${response.status}.`);
            }
            field.value = "";
        } catch (error) {
            field.setCustomValidity(`This was not said: ${error.message}`);
            field.reportValidity();
        }
    }

    // updates.streams.js subscribes to the channels that the page names.
    for (const room of document.querySelectorAll(".room")) {
        updates.registerProcessor(room.id, "message", (data) => addMessage(room, data));
        updates.onGap(room.id, () => location.reload());
    }
    updates.onState(showState);
    for (const form of document.querySelectorAll("form.say")) {
        form.addEventListener("submit", say);
        form.elements.text.addEventListener("input", ({ target }) =>
            target.setCustomValidity(""),
        );
    }
})();
