// Light or dark: the system's choice until the button is pressed; the choice is remembered in this browser.

const KEY = "tetriserve-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  return localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light");
}

export function startTheme(button, onChange) {
  const show = () => {
    const theme = chosen();
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Change to the ${theme === "dark" ? "light" : "dark"} theme`);
    onChange();
  };
  button.addEventListener("click", () => {
    localStorage.setItem(KEY, chosen() === "dark" ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
}
