/** Asks before anything is done to anybody. */
import { $ } from './dom.js';

let over = new AbortController();

/**
 * Show the dialog; `act({reason, seconds})` when it is confirmed, which may reject: then the dialog says why and stays.
 * seconds: null is until lifted, undefined where no term is asked for. label: what the text is, a reason if nothing is
 * said.
 */
export const ask = ({ title, text, yes, withTerm = false, withReason = true, label = 'Reason' }, act) => {
  const dialog = $('ask');
  const form = $('ask-form');
  $('ask-title').textContent = title;
  $('ask-text').textContent = text;
  $('ask-yes').textContent = yes;
  $('ask-term-part').hidden = !withTerm;
  $('ask-label').textContent = label;
  $('ask-reason').value = '';
  $('ask-reason').hidden = form.querySelector('[for=ask-reason]').hidden = !withReason;
  $('ask-problem').hidden = true;
  $('ask-yes').disabled = false;
  over.abort();
  over = new AbortController();
  const { signal } = over;
  $('ask-cancel').addEventListener('click', () => dialog.close(), { signal });
  const { id } = document.activeElement;
  dialog.addEventListener(
    'close',
    () => {
      // The event comes late: by then someone else may have been asked, and the dialog be open again.
      if (dialog.open) return;
      over.abort();
      // What was drawn again meanwhile has not got the focus back.
      if (id && document.activeElement.id !== id) $(id)?.focus();
    },
    { signal },
  );
  form.addEventListener(
    'submit',
    async (event) => {
      event.preventDefault();
      $('ask-yes').disabled = true;
      const term = $('ask-term').value;
      try {
        await act({ reason: $('ask-reason').value, seconds: withTerm ? (term ? Number(term) : null) : undefined });
        if (!signal.aborted) dialog.close();
      } catch (error) {
        if (signal.aborted) return;
        $('ask-problem').textContent = error.message;
        $('ask-problem').hidden = false;
        $('ask-yes').disabled = false;
      }
    },
    { signal },
  );
  dialog.showModal();
  $(withReason ? 'ask-reason' : 'ask-cancel').focus();
};
