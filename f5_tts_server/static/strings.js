// The words of the page, in English and in Chinese. What the server says itself stays in English.

export const WORDS = {
  en: {
    compose: "Text to speech", text: "Text", voice: "Voice", marks: "work inside the text.",
    example: "Hello! This voice begins to speak while the rest of the sentence is still being made.",
    options: "Options", speed: "Speed", steps: "Steps", guidance: "Guidance", seed: "Seed",
    recommended: "recommended", random: "random", numbers: "Read numbers and units as words",
    markup: "Leave out Markdown and emoji", key: "API key, if the server asks for one",
    speak: "Speak", stop: "Stop", compare: "Compare voices", voicesToCompare: "Voices to compare",
    addVoice: "Add a voice", deleteVoice: "Delete voice",
    result: "Result", waveform: "Waveform of the clip", progress: "Audio made so far",
    firstAudio: "First audio", made: "Audio", elapsed: "Made in", factor: "Real-time factor", replay: "Play the clip again",
    comparison: "The same text in several voices",
    history: "History", historyEmpty: "Clips made here are kept in this browser, the last 30.", clear: "Clear all",
    code: "Code", copy: "Copy", copied: "Copied.", copyByHand: "The browser does not allow copying here: select the code instead.",
    codeOfClip: "Makes the clip shown above again, with its seed.", codeOfForm: "Makes a clip of the form as it stands.",
    codeClip: "Wants the recording as clip.wav.",
    timed: "Show each word as it sounds", spoken: "The words, as they are spoken",
    edit: "Change words", editTitle: "Change words of a recording", change: "Change", wanted: "What it shall say",
    editHelp: "Words that differ are spoken anew in the same voice; all other samples stay. English, at most 60 seconds.",
    editsClip: "The clip that was made last.", editsFile: "Choose a recording.", editFile: "Another recording",
    consent: "3 to 10 seconds of one person, without music or noise. Only with that person's consent.",
    file: "Sound file", record: "Record", recording: "Stop recording", sample: "The reference clip", words: "What is said in it",
    name: "Name", save: "Save voice", once: "Use without saving", close: "Close", keep: "Keep",
    docs: "API documentation", theme: "Light or dark", language: "中文",
    nothing: "Nothing yet. Write a text and press Speak.", waiting: "Waiting for the first audio …",
    streaming: "Speaking while the rest is being made …", done: "The clip is complete.",
    stopped: "Stopped before the end.", failed: "Ended before the clip was complete.", none: "No audio was made.",
    partial: "incomplete", download: "Download WAV", downloadPartial: "Download the part that was made",
    comparing: "Making the text in {count} voices …", compared: "Done: {count} clips, same text, same seed.",
    chooseTwo: "Choose at least two voices.", play: "Play", show: "Show", remove: "Remove", again: "Use this text and voice",
    askDelete: "Delete the voice “{name}”? Its clip is removed from the server.", yesDelete: "Delete",
    askClear: "Remove all clips from this browser?", yesClear: "Remove",
    connecting: "connecting …", ready: "{model}, ready", loading: "the model is being loaded …",
    draining: "the server is shutting down", broken: "the server has failed and must be restarted",
    notReady: "not ready", gone: "the server does not answer", needsKey: "an API key is needed",
    unsaved: "This clip (not saved)", sayWords: "Write down what is said in the clip.",
    onceChosen: "The clip is chosen as the voice; it is sent with each request and not saved.",
    saved: "The voice “{name}” is saved.", ms: "{count} ms",
    reportLength: "{seconds} s at {rate} Hz, {speech} s of speech", reportSilence: "silence: {before} s before, {after} s after",
    reportLevels: "noise floor {noise} dB, speech {speech} dB, {clipped} % clipped",
    reportRate: "{rate} characters a second (usual: {low} to {high})", reportDone: "done: {text}", reportNote: "note: {text}",
    lost: "The connection ended before the clip was complete.", unreachable: "The server does not answer.",
  },
  zh: {
    compose: "文本转语音", text: "文本", voice: "声音", marks: "可以写在文本里。",
    example: "Hello! This voice begins to speak while the rest of the sentence is still being made.",
    options: "选项", speed: "语速", steps: "步数", guidance: "引导强度", seed: "种子",
    recommended: "推荐值", random: "随机", numbers: "把数字和单位读成文字",
    markup: "去掉 Markdown 和表情符号", key: "API 密钥（服务器要求时）",
    speak: "朗读", stop: "停止", compare: "比较声音", voicesToCompare: "要比较的声音",
    addVoice: "添加声音", deleteVoice: "删除声音",
    result: "结果", waveform: "音频波形", progress: "已生成的音频",
    firstAudio: "首段音频", made: "音频时长", elapsed: "生成用时", factor: "实时率", replay: "重放音频",
    comparison: "同一文本的多种声音",
    history: "历史", historyEmpty: "在此生成的音频保存在本浏览器中，最多 30 条。", clear: "全部清除",
    code: "代码", copy: "复制", copied: "已复制。", copyByHand: "浏览器不允许在此复制，请手动选择代码。",
    codeOfClip: "用相同的种子重新生成上面的音频。", codeOfForm: "按当前表单生成音频。",
    codeClip: "需要录音文件 clip.wav。",
    timed: "高亮显示正在朗读的单词", spoken: "朗读的文字",
    edit: "修改词语", editTitle: "修改录音中的词语", change: "修改", wanted: "修改后的文字",
    editHelp: "不同的词语会用同一声音重新朗读，其余部分保持不变。仅限英语，最长 60 秒。",
    editsClip: "刚刚生成的音频。", editsFile: "请选择录音。", editFile: "其他录音",
    consent: "一个人 3 到 10 秒的录音，无音乐和噪声。必须得到本人同意。",
    file: "音频文件", record: "录音", recording: "停止录音", sample: "参考音频", words: "录音中的文字",
    name: "名称", save: "保存声音", once: "使用但不保存", close: "关闭", keep: "保留",
    docs: "API 文档", theme: "浅色或深色", language: "English",
    nothing: "还没有内容。输入文本，然后点“朗读”。", waiting: "正在等待首段音频……",
    streaming: "边生成边播放……", done: "音频已完成。",
    stopped: "已在结束前停止。", failed: "音频未完成就结束了。", none: "没有生成音频。",
    partial: "不完整", download: "下载 WAV", downloadPartial: "下载已生成的部分",
    comparing: "正在用 {count} 种声音生成……", compared: "完成：{count} 段音频，文本和种子相同。",
    chooseTwo: "请至少选择两种声音。", play: "播放", show: "查看", remove: "移除", again: "使用此文本和声音",
    askDelete: "删除声音“{name}”？服务器上的录音会被移除。", yesDelete: "删除",
    askClear: "移除本浏览器中的所有音频？", yesClear: "移除",
    connecting: "正在连接……", ready: "{model}，就绪", loading: "正在加载模型……",
    draining: "服务器正在关闭", broken: "服务器出现故障，需要重启",
    notReady: "未就绪", gone: "服务器没有响应", needsKey: "需要 API 密钥",
    unsaved: "此录音（未保存）", sayWords: "请写下录音中的文字。",
    onceChosen: "已选用此录音；它随每个请求发送，不会保存。",
    saved: "声音“{name}”已保存。", ms: "{count} 毫秒",
    reportLength: "{seconds} 秒，{rate} Hz，其中语音 {speech} 秒", reportSilence: "静音：前 {before} 秒，后 {after} 秒",
    reportLevels: "噪声 {noise} dB，语音 {speech} dB，削波 {clipped} %",
    reportRate: "每秒 {rate} 个字符（通常 {low} 到 {high}）", reportDone: "已处理：{text}", reportNote: "注意：{text}",
    lost: "音频完成之前连接中断。", unreachable: "服务器没有响应。",
  },
};

let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** A sentence of the page, with {names} filled in. */
export function say(key, values = {}) {
  return WORDS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Writes the words of the chosen language into the page's fixed parts. */
export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-i18n]")) element.textContent = say(element.dataset.i18n);
  for (const element of document.querySelectorAll("[data-i18n-label]")) {
    element.setAttribute("aria-label", say(element.dataset.i18nLabel));
  }
  for (const element of document.querySelectorAll("[data-i18n-placeholder]")) {
    element.placeholder = say(element.dataset.i18nPlaceholder);
  }
}

export function otherLanguage() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  translate();
}
