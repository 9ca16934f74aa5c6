// Light or dark before the first paint: the choice of an earlier visit, else the system's.
const chosenTheme = localStorage.getItem("theme");
if (chosenTheme) document.documentElement.dataset.theme = chosenTheme;
